// What differs between two texts, line by line (Myers, "An O(ND) difference algorithm", 1986).

/** Beyond this many edits the rest is shown as replaced: nobody reads such a difference. */
const MOST = 1500;

/** The steps from `before` to `after`: `{ kind: "same" | "del" | "add", text }`. */
export function lines(before, after) {
  const a = split(before);
  const b = split(after);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const same = (list) => list.map((text) => ({ kind: "same", text }));
  return [
    ...same(a.slice(0, start)),
    ...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)),
    ...same(a.slice(a.length - end)),
  ];
}

function split(text) {
  const found = text.split("\n");
  if (found.at(-1) === "") found.pop();
  return found;
}

function middle(a, b) {
  const trace = search(a, b);
  if (!trace) {
    return [...a.map((text) => ({ kind: "del", text })), ...b.map((text) => ({ kind: "add", text }))];
  }
  // Back from the end: which way was each furthest point reached?
  const steps = [];
  let x = a.length;
  let y = b.length;
  for (let d = trace.length - 1; d >= 0; d -= 1) {
    const reach = trace[d];
    const k = x - y;
    const at = (diagonal) => reach.get(diagonal) ?? -1;
    const down = k === -d || (k !== d && at(k - 1) < at(k + 1));
    const from = down ? k + 1 : k - 1;
    const fromX = d === 0 ? 0 : at(from);
    const fromY = d === 0 ? 0 : fromX - from;
    while (x > fromX && y > fromY && x > 0 && y > 0 && a[x - 1] === b[y - 1]) {
      steps.push({ kind: "same", text: a[x - 1] });
      x -= 1;
      y -= 1;
    }
    if (d === 0) break;
    steps.push(down ? { kind: "add", text: b[y - 1] } : { kind: "del", text: a[x - 1] });
    x = fromX;
    y = fromY;
  }
  return steps.reverse();
}

/** The furthest x on each diagonal, before every round; null if there is no end of it. */
function search(a, b) {
  let reach = new Map([[1, 0]]);
  const trace = [];
  for (let d = 0; d <= Math.min(MOST, a.length + b.length); d += 1) {
    trace.push(new Map(reach));
    for (let k = -d; k <= d; k += 2) {
      const at = (diagonal) => reach.get(diagonal) ?? -1;
      const down = k === -d || (k !== d && at(k - 1) < at(k + 1));
      let x = down ? at(k + 1) : at(k - 1) + 1;
      let y = x - k;
      while (x < a.length && y < b.length && a[x] === b[y]) {
        x += 1;
        y += 1;
      }
      reach.set(k, x);
      if (x >= a.length && y >= b.length) return trace;
    }
  }
  return null;
}

/** Leaves out what is the same, but for a few lines around each change. */
export function fold(steps, context = 3) {
  const keep = new Array(steps.length).fill(false);
  steps.forEach((step, at) => {
    if (step.kind === "same") return;
    for (let near = Math.max(0, at - context); near <= Math.min(steps.length - 1, at + context); near += 1) keep[near] = true;
  });
  const folded = [];
  let left = 0;
  steps.forEach((step, at) => {
    if (keep[at]) {
      if (left > 0) folded.push({ kind: "gap", text: `${left} lines` });
      left = 0;
      folded.push(step);
    } else {
      left += 1;
    }
  });
  if (left > 0 && folded.length > 0) folded.push({ kind: "gap", text: `${left} lines` });
  return folded;
}
