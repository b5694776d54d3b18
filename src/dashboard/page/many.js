// A change of all keys that the search matches. It is made only after a look at their count.

import { call, keyPath } from "./api.js";
import { refresh } from "./app.js";
import { find, make } from "./dom.js";
import { onSubmit, open, run, say } from "./parts.js";
import { conditions } from "./search.js";

const CHANGES = {
  revoke: ["Revoke", "Revoked", "Each key stops working at once and cannot be restored."],
  disable: ["Disable", "Disabled", "Each key stops working at once, until it is enabled again."],
  remove: ["Remove", "Removed", "Each key stops working at once, and its record is deleted."],
};
const NAMED = 5;
const dialog = find("#many");

// The change that is asked for, and its dry run. The filter is kept: what is changed must not
// depend on the time of the confirmation.
let asked = null;

const keysOf = (count) => (count === 1 ? "1 key" : `${count} keys`);

function filter() {
  const { sort, never_used, ...set } = Object.fromEntries(conditions());
  return never_used ? { ...set, never_used: true } : set;
}

function send(options) {
  const { change, filter } = asked;
  return call("POST", "keys/bulk", { body: { change, filter, ...options } });
}

// Counts the keys, and reads the first of them.
async function count() {
  asked.counted = await send({ dry_run: true });
  asked.first = await Promise.all(asked.counted.ids.slice(0, NAMED).map(read));
}

const read = (id) => call("GET", keyPath(id)).catch(() => ({ id }));

function draw() {
  const [verb, , effect] = CHANGES[asked.change];
  const { matched } = asked.counted;
  find("#many-title").textContent = `${verb} ${keysOf(matched)}?`;
  find("#many-yes").textContent = `${verb} ${keysOf(matched)}`;
  find("#many-effect").textContent = effect;
  find("#many-first").replaceChildren(...asked.first.map(named));
  const others = matched - asked.first.length;
  if (others > 0) find("#many-first").append(make("li", {}, `and ${others} more`));
}

const named = (key) => make("li", {}, `${key.name ?? "Unnamed"} ${key.mask ?? key.id}`);

async function ask({ target }) {
  const button = target.closest("button[data-change]");
  if (!button) return;
  asked = { change: button.dataset.change, filter: filter(), counted: null };
  await run(find("#keys"), count);
  if (!asked.counted) return;
  if (asked.counted.matched === 0) return say(find("#keys"), `There is no key to ${asked.change}.`);
  draw();
  find("#many-reason").value = "";
  open(dialog);
}

// Counts once more: keys that began to match meanwhile are not changed unseen.
async function change() {
  const seen = JSON.stringify(asked.counted);
  await count();
  if (JSON.stringify(asked.counted) !== seen) {
    draw();
    throw new Error("Other keys match now. Look at them, then confirm again.");
  }
  const { changed } = await send({ reason: find("#many-reason").value.trim() });
  dialog.close();
  const [, done] = CHANGES[asked.change];
  const { matched } = asked.counted;
  refresh(`${done} ${changed === matched ? "" : `${changed} of `}${keysOf(matched)}.`);
}

find("#many-changes").addEventListener("click", ask);
onSubmit(find("#many-form"), change);
