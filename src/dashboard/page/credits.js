// Adds credits to those of a key. A reference adds them once, so a form that is sent twice does too.

import { call, keyPath } from "./api.js";
import { refresh } from "./app.js";
import { find, make } from "./dom.js";
import { onSubmit, open } from "./parts.js";
import { state } from "./state.js";

const dialog = find("#top-up");
const field = (name) => find(`#top-up-${name}`);
let chosen = null;

const PARTS = ["leased", "spent", "lost", "expired"];

// The line of one balance, and a button for those who may add credits.
export function balance({ name, balance }) {
  const parts = PARTS.filter((part) => balance[part] > 0).map((part) => `${balance[part].toLocaleString()} ${part}`);
  const added = `of ${balance.topped_up.toLocaleString()} added`;
  const text = [`${name}: ${balance.available.toLocaleString()} credits left ${added}`, ...parts].join(", ");
  if (!state.session?.tops_up) return make("li", {}, text);
  const button = make("button", { type: "button", ariaLabel: `Top up ${name}` }, "Top up…");
  button.dataset.topUp = name;
  return make("li", {}, text, button);
}

function choose({ target }) {
  const button = target.closest("button[data-top-up]");
  if (!button) return;
  const row = button.closest("tr");
  chosen = { id: row.dataset.keyId, name: find(".name", row).textContent, limit: button.dataset.topUp };
  field("what").textContent = `${chosen.limit} of ${chosen.name}`;
  field("amount").value = "";
  field("id").value = crypto.randomUUID();
  open(dialog);
}

async function topUp() {
  const body = { limit: chosen.limit, amount: Number(field("amount").value), id: field("id").value };
  const { is_new } = await call("POST", keyPath(chosen.id, "/top-ups"), { body });
  dialog.close();
  const credits = `${body.amount.toLocaleString()} credits to ${chosen.limit} of ${chosen.name}`;
  refresh(is_new ? `Added ${credits}.` : `An earlier top-up with this reference has added ${credits}.`);
}

find("#rows").addEventListener("click", choose);
onSubmit(find("#top-up-form"), topUp);
