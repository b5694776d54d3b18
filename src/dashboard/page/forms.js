// The dialogs that create, edit, rotate, regenerate and revoke a key.

import { call, keyPath } from "./api.js";
import { refresh } from "./app.js";
import { find } from "./dom.js";
import { drawGrid, isSame, ticked } from "./grid.js";
import { openHistory } from "./history.js";
import { onSubmit, open } from "./parts.js";
import { showKey } from "./shown.js";
import { state, title } from "./state.js";

let confirmed = null;

const endOfDay = (day) => new Date(`${day}T23:59:59`).toISOString();
const reasonIn = (field) => find(field).value.trim() || undefined;

// The day of an instant in the local time zone, as a date field has it.
function dayOf(instant) {
  if (!instant) return "";
  const local = new Date(instant);
  local.setMinutes(local.getMinutes() - local.getTimezoneOffset());
  return local.toISOString().slice(0, 10);
}

function openCreate() {
  const form = find("#create-form");
  form.reset();
  const { is_user, own_keys_only } = state.session;
  find("#type-user").disabled = !is_user;
  find("#bot-only").hidden = is_user;
  find("#type-bot").disabled = own_keys_only;
  find("#type-user").checked = own_keys_only && is_user;
  find("#type-bot").checked = !own_keys_only;
  find("#own-only").hidden = !own_keys_only || !is_user;
  drawGrid(form, {});
  open(find("#create"));
}

async function create(form) {
  const day = find("#expires").value;
  const body = {
    type: new FormData(form).get("type"),
    name: find("#name").value.trim(),
    permissions: ticked(form),
    expires_at: day ? endOfDay(day) : undefined,
  };
  showKey(form, await call("POST", "keys", { body }));
}

function openEdit() {
  const { chosen } = state;
  const form = find("#edit-form");
  find("#edit-name").value = chosen.name ?? "";
  find("#edit-expires").value = dayOf(chosen.expires_at);
  find("#edit-reason").value = "";
  find("#enabled").checked = chosen.status !== "disabled";
  drawGrid(form, chosen.permissions);
  open(find("#edit"));
}

// Returns only the fields changed here, since another user may have changed the others.
function edited(form) {
  const { chosen } = state;
  const body = {};
  const name = find("#edit-name").value.trim();
  if (name !== (chosen.name ?? "")) body.name = name;
  const permissions = ticked(form);
  if (!isSame(permissions, chosen.permissions)) body.permissions = permissions;
  const day = find("#edit-expires").value;
  if (day !== dayOf(chosen.expires_at)) body.expires_at = day ? endOfDay(day) : null;
  body.reason = reasonIn("#edit-reason");
  const enabled = find("#enabled").checked;
  if (enabled !== (chosen.status !== "disabled")) body.status = enabled ? "active" : "disabled";
  return body;
}

async function edit(form) {
  const saved = await call("PATCH", keyPath(state.chosen.id), { body: edited(form) });
  find("#edit").close();
  refresh(`Saved ${title(saved)}.`);
}

async function rotate(form) {
  const body = { grace_seconds: Number(find("#grace").value) };
  showKey(form, await call("POST", keyPath(state.chosen.id, "/rotate"), { body }));
}

function openConfirm(verb, text, work) {
  confirmed = work;
  find("#confirm-verb").textContent = verb;
  find("#confirm-yes").textContent = verb;
  find("#confirm-text").textContent = text;
  find("#reason").value = "";
  open(find("#confirm"));
}

async function regenerate(form) {
  showKey(form, await call("POST", keyPath(state.chosen.id, "/regenerate"), { body: { reason: reasonIn("#reason") } }));
}

async function revoke() {
  const reason = reasonIn("#reason");
  await call("DELETE", keyPath(state.chosen.id, reason ? `?${new URLSearchParams({ reason })}` : ""));
  find("#confirm").close();
  refresh(`Revoked ${title(state.chosen)}.`);
}

const ACTIONS = {
  edit: openEdit,
  history: openHistory,
  rotate: () => open(find("#rotate")),
  regenerate: () => openConfirm("Regenerate", "You get a new key. The old key stops working at once.", regenerate),
  revoke: () => openConfirm("Revoke", "The key stops working at once and cannot be restored.", revoke),
};

function act({ target }) {
  const button = target.closest("button[data-action]");
  if (!button) return;
  const { keyId } = button.closest("tr").dataset;
  state.chosen = state.keys.find((key) => key.id === keyId);
  ACTIONS[button.dataset.action]();
}

find("#new-key").addEventListener("click", openCreate);
find("#rows").addEventListener("click", act);
onSubmit(find("#create-form"), create);
onSubmit(find("#edit-form"), edit);
onSubmit(find("#rotate-form"), rotate);
onSubmit(find("#confirm-form"), (form) => confirmed(form));
