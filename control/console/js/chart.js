// Line graphs over time, as SVG.

import { announce } from "./announce.js";
import { fill, h, svg } from "./dom.js";
import { duration } from "./format.js";

const WIDTH = 640;
const HEIGHT = 190;
const LEFT = 52;
const RIGHT = 8;
const TOP = 10;
const BOTTOM = 22;
/** What a graph is wide, in minutes: as much as is known, so far. */
const SPANS = [1, 2, 5, 10];
const COLOURS = 8;

/** The next larger of 1, 2, 5, 10, 20, 50, ... */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999999);
}

/**
 * A graph. `format` writes a value; `limit` is where the scale ends, if that is known.
 * `update(points, series)` draws: points have a `time` in milliseconds, a series has a `name` and
 * `value(point)`, null where there is none.
 */
export function chart({ title, format, limit }) {
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  const legend = h("ul", { class: "legend" });
  const when = h("span", { class: "soft" });
  const element = h("figure", { class: "card", tabindex: "0", "aria-label": `${title}. Left and right arrow keys go through time` },
    h("figcaption", {}, h("span", {}, title), when), picture, legend);
  let points = [];
  let series = [];
  // Index of the point that is pointed at; null: the latest.
  let cursor = null;

  const end = () => points.at(-1)?.time ?? 0;
  const span = () => {
    const known = points.length > 0 ? (end() - points[0].time) / 60_000 : 0;
    return SPANS.find((minutes) => minutes >= known) ?? SPANS.at(-1);
  };
  const x = (time) => LEFT + (WIDTH - LEFT - RIGHT) * (1 - (end() - time) / (span() * 60_000));

  function draw() {
    const values = points.flatMap((point) => series.map((one) => one.value(point) ?? 0));
    const top = limit ?? ceiling(Math.max(...values, 0));
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - Math.min(value / top, 1));
    fill(picture, grid(top, y), series.map((one, at) => line(one, at, y)), pointer());
    const point = points[cursor ?? points.length - 1];
    fill(legend, series.map((one, at) => h("li", {}, dot(at), one.name, h("b", {}, point ? format(one.value(point)) : "–"))));
    when.textContent = cursor === null ? "" : `${duration(end() - points[cursor].time)} ago`;
    picture.setAttribute("aria-label", `${title}: ${describe(point)}`);
  }

  function describe(point) {
    if (!point) return "nothing known yet";
    return series.map((one) => `${one.name} ${format(one.value(point))}`).join(", ") || "none";
  }

  function grid(top, y) {
    const levels = [0, 0.25, 0.5, 0.75, 1].map((share) => [
      svg("line", { class: "chart-grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(top * share), y2: y(top * share) }),
      svg("text", { class: "chart-text", x: LEFT - 6, y: y(top * share) + 4, "text-anchor": "end" }, format(top * share).replace("/s", "")),
    ]);
    const times = [1, 0.75, 0.5, 0.25, 0].map((share) => {
      const ago = share * span() * 60_000;
      const anchor = share === 0 ? "end" : share === 1 ? "start" : "middle";
      return svg("text", { class: "chart-text", x: x(end() - ago), y: HEIGHT - 6, "text-anchor": anchor }, share === 0 ? "now" : `−${duration(ago)}`);
    });
    return [levels, times];
  }

  function line(one, at, y) {
    const runs = [];
    let run = null;
    for (const point of points.filter(({ time }) => end() - time <= span() * 60_000)) {
      const value = one.value(point);
      if (value === null || value === undefined) {
        run = null;
        continue;
      }
      if (!run) {
        run = [];
        runs.push(run);
      }
      run.push(`${x(point.time).toFixed(1)},${y(value).toFixed(1)}`);
    }
    const colour = `c${at % COLOURS}`;
    return runs.map((run) => {
      const [first, last] = [run[0].split(",")[0], run.at(-1).split(",")[0]];
      return [
        svg("polygon", { class: `chart-area ${colour}`, points: `${first},${y(0)} ${run.join(" ")} ${last},${y(0)}` }),
        svg("polyline", { class: `chart-line ${colour}`, points: run.join(" ") }),
      ];
    });
  }

  function pointer() {
    if (cursor === null) return null;
    const at = x(points[cursor].time);
    return svg("line", { class: "chart-cursor", x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM });
  }

  function point(at) {
    cursor = at === null || points.length === 0 ? null : Math.max(0, Math.min(points.length - 1, at));
    draw();
  }

  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width) * WIDTH;
    let best = null;
    points.forEach((candidate, at) => {
      const distance = Math.abs(x(candidate.time) - place);
      if (best === null || distance < best.distance) best = { at, distance };
    });
    point(best?.at ?? null);
  });
  picture.addEventListener("pointerleave", () => point(null));
  element.addEventListener("blur", () => point(null));
  element.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || points.length === 0) return;
    event.preventDefault();
    point((cursor ?? points.length - 1) + step);
    announce(`${duration(end() - points[cursor].time)} ago: ${describe(points[cursor])}`);
  });

  return {
    element,
    update(nextPoints, nextSeries) {
      // The list moves on under the cursor, which stays on its moment.
      const time = cursor === null ? null : points[cursor]?.time;
      points = nextPoints;
      series = nextSeries;
      const found = time === null ? -1 : points.findIndex((candidate) => candidate.time === time);
      cursor = found < 0 ? null : found;
      draw();
    },
  };
}

function dot(at) {
  return svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("circle", { class: `c${at % COLOURS}`, cx: 5, cy: 5, r: 4 }));
}
