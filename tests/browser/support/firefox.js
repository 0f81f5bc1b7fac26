// A call page in Debian's Firefox, through WebDriver BiDi, with a fake camera and microphone.

import { existsSync } from 'node:fs';
import puppeteer from 'puppeteer-core';

const PROGRAM = '/usr/bin/firefox-esr';

export async function launchFirefox() {
  if (!existsSync(PROGRAM)) throw new Error(`${PROGRAM} is missing: apt-get install -y firefox-esr`);
  return puppeteer.launch({
    browser: 'firefox',
    executablePath: PROGRAM,
    headless: true,
    extraPrefsFirefox: {
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      'media.autoplay.default': 0,
    },
  });
}
