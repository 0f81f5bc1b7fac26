// Small charts of the last minutes, drawn by hand as SVG.

const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT] = [300, 64];
/** What is kept, and shown at most. */
export const WINDOW_MS = 300_000;
/** A server that has just begun shows its first minute wide. */
const SHORTEST_MS = 60_000;
/** Longer than this without a point is a gap, not a line. */
const GAP_MS = 12_000;

/** A chart of one or two lines in `frame`; `format` writes a value. */
export class Chart {
  #lines;
  #svg;
  #top;
  #format;

  /** `names`: what each line is. */
  constructor(frame, names, format) {
    this.#format = format;
    this.#svg = make('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img' });
    this.#svg.append(make('path', { class: 'chart-ground', d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }));
    this.#lines = names.map((name, index) => {
      const [area, line] = [make('path', { class: `chart-area chart-area-${index}` }), make('path', { class: `chart-line chart-line-${index}` })];
      this.#svg.append(area, line);
      return { name, area, line };
    });
    this.#top = Object.assign(document.createElement('span'), { className: 'chart-top', ariaHidden: 'true' });
    frame.replaceChildren(this.#svg, this.#top);
  }

  /** `points`: [time in ms, value of the first line, value of the second…], the oldest first. */
  draw(points, now) {
    const span = Math.min(WINDOW_MS, Math.max(SHORTEST_MS, now - (points[0]?.[0] ?? now)));
    const values = points.flatMap(([, ...rest]) => rest);
    const highest = Math.max(0, ...values);
    const top = ceiling(highest);
    for (const [index, { area, line }] of this.#lines.entries()) {
      const runs = split(points, now, span, index + 1, top);
      line.setAttribute('d', runs.map((run) => `M${run.map(pair).join('L')}`).join(''));
      area.setAttribute('d', runs.map((run) => `M${run[0][0]} ${HEIGHT}L${run.map(pair).join('L')}L${run.at(-1)[0]} ${HEIGHT}Z`).join(''));
    }
    this.#top.textContent = highest > 0 ? this.#format(top) : '';
    const last = points.at(-1)?.slice(1) ?? [];
    const said = this.#lines.map(({ name }, index) => `${name} ${this.#format(last[index] ?? 0)}`).join(', ');
    this.#svg.setAttribute('aria-label', `The last ${span > 90_000 ? `${Math.round(span / 60_000)} minutes` : 'minute'}. Now: ${said}. At most ${this.#format(highest)}.`);
  }
}

/** The points as places, cut where nothing was seen for a while. */
function split(points, now, span, column, top) {
  const runs = [];
  let before = -Infinity;
  for (const point of points) {
    const x = WIDTH * (1 - (now - point[0]) / span);
    if (x < 0) continue;
    if (point[0] - before > GAP_MS) runs.push([]);
    before = point[0];
    runs.at(-1).push([round(x), round(HEIGHT - 1 - (HEIGHT - 6) * (point[column] / top))]);
  }
  return runs;
}

/** The next of 1, 2, 5, 10, 20… above. */
export function ceiling(value) {
  if (value <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

function pair([x, y]) {
  return `${x} ${y}`;
}

function round(value) {
  return Math.round(value * 10) / 10;
}

function make(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}
