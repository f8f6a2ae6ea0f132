// A real server's weight and state, changed together.

import { announce, done } from "../announce.js";
import { path, request } from "../api.js";
import { ask } from "../dialog.js";
import { field, h, select } from "../dom.js";
import { terms } from "../form.js";
import { refresh } from "../poll.js";
import { look } from "../trial.js";
import { result, said } from "./config-edit.js";

const STATES = [
  ["up", "up: takes new sessions"],
  ["draining", "draining: keeps its sessions, and gets no new ones"],
  ["down", "down: its sessions end at their next packet"],
];

/** Asks for weight and state of a real server `{ pool, plain, name }`, and changes what is another one. */
export async function editServer(row) {
  const part = path("config", "pool", row.pool, "server", row.plain);
  const { etag, data: now } = await request("GET", part);
  const weight = h("input", { type: "number", min: "0", max: "1000", required: true, inputmode: "numeric" });
  weight.value = String(now.weight ?? 1);
  const state = select(STATES);
  state.value = now.state ?? "up";
  const how = terms({ candidate: true });

  async function send(dryRun) {
    const body = {};
    if (Number(weight.value) !== (now.weight ?? 1)) body.weight = Number(weight.value);
    if (state.value !== (now.state ?? "up")) body.state = state.value;
    const query = { ...how.query(), dry_run: dryRun || undefined };
    if (!how.candidate()) query.comment ||= `console: ${row.name} ${Object.entries(body).flat().join(" ")}`.trim();
    // The candidate may say something else already.
    const match = how.candidate() ? undefined : etag;
    return (await request("PATCH", part, { body, type: "application/merge-patch+json", query, match })).data;
  }

  const answer = await ask({
    title: `Change ${row.name}`,
    fields: [
      field("Weight", weight, "its share of new sessions; 0: none"),
      field("State", state),
      how.fields,
    ],
    yes: "Change",
    submit: () => send(),
    check: async () => result(await send(true), true),
  });
  if (!answer) return;
  const text = `${row.name}: ${said(answer)}`;
  done(text);
  announce(text);
  look();
  await refresh();
}
