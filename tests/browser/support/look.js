// How a page looks: nothing sticks out to the side; screenshots for human eyes.

import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { resolve } from 'node:path';

const SCREENSHOTS = resolve(import.meta.dirname, '../screenshots');
export const SIZES = [{ width: 390, height: 844 }, { width: 1440, height: 900 }];
export const SCHEMES = ['light', 'dark'];

/** Nothing sticks out to the side, every control is within reach. */
export async function fits(page, name) {
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: resolve(SCREENSHOTS, `${name}.png`) });
  const { wide, outside } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth - innerWidth,
    outside: [...document.querySelectorAll('button, input, a, summary, .tile')]
      .filter((element) => element.checkVisibility())
      .map((element) => ({ element, box: element.getBoundingClientRect() }))
      .filter(({ box }) => box.left < -1 || box.right > innerWidth + 1)
      .map(({ element }) => element.outerHTML.slice(0, 80)),
  }));
  // A scroll bar takes room of its own.
  assert.ok(wide <= 0, `${name} scrolls sideways`);
  assert.deepEqual(outside, [], name);
}

/** Presses Tab until `target` has the focus. */
export async function tabTo(page, target) {
  for (let presses = 0; presses < 40; presses += 1) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  assert.fail('not reachable with the Tab key');
}
