import { conditions, searching, watch } from "/search.js";

export { MINUTE, call, find, make, may, onSubmit, open, refresh, run, say, time };

const find = (selector, inside = document) => inside.querySelector(selector);
const findAll = (selector, inside = document) => [...inside.querySelectorAll(selector)];

function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

let session = null;
let keys = [];
let cursor = null;
let chosen = null;
let confirmed = null;
let interrupted = null;

// The server

const rejection = (status, message) => Object.assign(new Error(message), { status });

async function call(method, path, { body, headers } = {}) {
  const mutation = method !== "GET" && { "Content-Type": "application/json" };
  const response = await fetch(path, {
    method,
    headers: { Accept: "application/json", ...mutation, ...headers },
    body: body && JSON.stringify(body),
    credentials: "same-origin",
    cache: "no-store",
  }).catch(() => {
    throw rejection(0, "The server cannot be reached. Check your connection, then try again.");
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw rejection(response.status, reason(response, answer));
  return answer;
}

function reason(response, { detail, title }) {
  return detail || title || `The request failed with status ${response.status}.`;
}

const keyPath = (key, action = "") => `/admin/keys/${encodeURIComponent(key.id)}${action}`;

// Requests. Each one belongs to a part of the page. That part is busy until the response arrives, and shows the error.

async function run(part, work) {
  const focused = document.activeElement;
  say(part, "");
  busy(part, true);
  try {
    await work();
  } catch (error) {
    if (error.status === 401 && session) interrupt();
    else say(part, error.message);
  } finally {
    busy(part, false);
    returnFocus(focused);
  }
}

function say(part, text, good = false) {
  const closed = part.closest("dialog:not([open])");
  const message = find(".message", closed && text ? find("#keys") : part);
  message.textContent = text;
  message.classList.toggle("good", good);
}

function busy(part, yes) {
  part.ariaBusy = yes;
  for (const button of findAll("button", part)) button.disabled = yes;
}

// A disabled button loses the focus, and so does a removed row.
function returnFocus(to) {
  for (const element of [to, find("#new-key"), find("#admin-key")]) {
    const { activeElement } = document;
    if (activeElement === document.body || !activeElement.checkVisibility()) element?.focus();
  }
}

function onSubmit(form, work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(form, () => work(form));
  });
}

// The session

async function start() {
  try {
    await enter(await call("GET", "/admin/session"));
  } catch (error) {
    leave(error.status === 401 ? "" : error.message);
  }
}

async function signIn(form) {
  const field = find("#admin-key");
  const key = field.value.trim();
  field.value = "";
  field.focus();
  await enter(await call("POST", "/admin/session", { body: {}, headers: { "X-API-Key": key } }));
}

async function signOut() {
  await call("DELETE", "/admin/session");
  leave("");
}

async function enter(newSession) {
  session = newSession;
  find("#who").textContent = session.owner ?? "";
  find("#list-title").textContent = session.own_keys_only ? "Your keys in" : "Keys of";
  find("#organization").textContent = session.organization ?? "everyone";
  showSignedIn(true);
  await refresh();
  resume();
}

function leave(message) {
  session = null;
  keys = [];
  drawKeys();
  showSignedIn(false);
  say(find("#sign-in"), message);
  returnFocus();
}

// Keeps an open dialog, so that the same user finds the input again after signing in.
function interrupt() {
  const dialog = find("dialog[open]:not(#shown)");
  interrupted = dialog && { dialog, by: session.key_id };
  dialog?.close();
  leave("Your session has ended. Please sign in again.");
}

function resume() {
  if (interrupted?.by === session?.key_id) interrupted?.dialog.showModal();
  interrupted = null;
}

function showSignedIn(yes) {
  find("#signed-out").hidden = yes;
  find("#account").hidden = !yes;
  find("#keys").hidden = !yes;
}

// The list

async function refresh(news = "") {
  await run(find("#keys"), async () => {
    const wanted = keys.length;
    await load(null);
    while (cursor && keys.length < wanted) await load(cursor);
    drawKeys();
    say(find("#keys"), news, true);
  });
}

async function more() {
  await load(cursor);
  drawKeys();
}

async function load(from) {
  const query = conditions();
  query.set("limit", 50);
  if (from) query.set("cursor", from);
  const page = await call("GET", `/admin/keys?${query}`);
  keys = from ? [...keys, ...page.keys] : page.keys;
  cursor = page.next;
}

function drawKeys() {
  find("#rows").replaceChildren(...keys.map(drawKey));
  find("#key-table").hidden = keys.length === 0;
  find("#empty").hidden = keys.length > 0 || cursor;
  find("#empty").textContent = searching() ? "No key matches." : "There are no keys yet. Create the first one with “New key”.";
  find("#more").hidden = !cursor;
  find("#many-changes").hidden = keys.length === 0 || !searching();
}

function drawKey(key) {
  const row = find(`#rows [data-key-id="${CSS.escape(key.id)}"]`) ?? newRow();
  const put = (selector, content) => find(selector, row).replaceChildren(content);
  row.dataset.keyId = key.id;
  put(".name", key.name ?? "Unnamed");
  find(".own", row).hidden = key.id !== session.key_id;
  put(".owner", key.owner ?? "–");
  put(".type", key.type ? `${key.type} key` : "");
  put(".granted", summary(key.permissions));
  put(".roles", key.roles.length > 0 ? `roles: ${key.roles.join(", ")}` : "");
  put(".plan", limits(key));
  put(".created", key.created_at ? time(key.created_at, DAY) : "–");
  put(".creator", by(key.created_by));
  put(".used", key.last_used_at ? time(key.last_used_at, MINUTE) : "never");
  put(".count", key.use_count === 1 ? "once" : key.use_count ? `${key.use_count} times` : "");
  put(".last-four", lastFour(key) ?? "–");
  put(".badge", key.status.replaceAll("_", " "));
  find(".badge", row).dataset.status = key.status;
  put(".note", note(key));
  put(".why", why(key));
  for (const action of ["rotate", "regenerate"]) find(`[data-action=${action}]`, row).hidden = !replaceable(key);
  for (const button of findAll("button", row)) button.ariaLabel = `${button.textContent} ${title(key)}`;
  return row;
}

// A key can be replaced once. Only the user may replace a user's key.
const replaceable = (key) => !key.replaced_by && key.status !== "expired" && (key.type !== "user" || key.owner === session.owner);

const newRow = () => find("tr", document.importNode(find("#row").content, true));

const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const MINUTE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

const time = (at, format) => make("time", { dateTime: at }, format.format(new Date(at)));

function summary(permissions) {
  const parts = Object.entries(permissions).map(([resource, actions]) => `${resource}: ${actions.join(", ")}`);
  return parts.join(" · ") || "none";
}

// The numbers are those that differ from the plan. Only the service itself changes them.
function limits(key) {
  const numbers = Object.entries(key.limits).map(([name, number]) => `${name}: ${number}`);
  return [key.plan && `plan ${key.plan}`, ...numbers].filter(Boolean).join(" · ");
}

function note(key) {
  const words = document.createDocumentFragment();
  if (key.status === "not_yet_valid" && key.not_before) words.append("from ", time(key.not_before, MINUTE));
  else if (key.expires_at) words.append(ending(key), time(key.expires_at, MINUTE));
  return words;
}

function ending(key) {
  if (key.status === "expired") return "since ";
  if (key.status === "active" && !key.replaced_by && new Date(key.expires_at) - Date.now() < SOON) return "soon over, until ";
  return key.replaced_by && key.status === "active" ? "replaced, works until " : "until ";
}

const SOON = 14 * 24 * 60 * 60 * 1000;

// An author is a user, a key, or the system. A key is named if it is in the list.
function by(author) {
  if (!author) return "";
  const name = author.type === "key" ? keys.find((key) => key.id === author.id)?.name ?? "another key" : author.id;
  return `by ${name ?? "the system"}`;
}

const why = (key) => [by(key.revoked_by), key.reason].filter(Boolean).join(": ");

const lastFour = (key) => key.mask?.match(/\w{4}$/)?.[0];
const endOfDay = (day) => new Date(`${day}T23:59:59`).toISOString();
const reasonIn = (field) => find(field).value.trim() || undefined;

// The day of an instant in the local time zone, as a date field has it.
function dayOf(instant) {
  if (!instant) return "";
  const local = new Date(instant);
  local.setMinutes(local.getMinutes() - local.getTimezoneOffset());
  return local.toISOString().slice(0, 10);
}

const title = (key) => key.name ?? `the unnamed key ${lastFour(key) ?? ""}`;

// Permissions

function drawGrid(form, already) {
  const offered = [session.permissions, already];
  const actions = [...new Set(offered.flatMap((permissions) => Object.values(permissions).flat()))];
  const resources = [...new Set(offered.flatMap(Object.keys))];
  const heading = (text, scope) => make("th", { scope }, text);
  const row = (resource) => make("tr", {}, heading(resource, "row"), ...actions.map((action) => cell(resource, action)));
  const cell = (resource, action) => {
    if (!offered.some((permissions) => holds(permissions, resource, action))) return make("td");
    return boxCell(resource, action, holds(already, resource, action));
  };
  const head = make("tr", {}, make("td"), ...actions.map((action) => heading(action, "col")));
  find(".grid", form).replaceChildren(head, ...resources.map(row));
}

function holds(permissions, resource, action) {
  return Object.entries(permissions).some(([name, actions]) => name === resource && actions.includes(action));
}

// Returns whether the signed-in user has this permission. The server decides again.
const may = (resource, action) => session !== null && holds(session.permissions, resource, action);

function boxCell(resource, action, checked) {
  const box = make("input", { type: "checkbox", name: "permission", checked, ariaLabel: `${resource}: ${action}` });
  Object.assign(box.dataset, { resource, action });
  return make("td", {}, make("label", {}, box));
}

function ticked(form) {
  const boxes = findAll("input[name=permission]:checked", form);
  const byResource = Map.groupBy(boxes, (box) => box.dataset.resource);
  return Object.fromEntries([...byResource].map(([name, group]) => [name, group.map((box) => box.dataset.action)]));
}

// Dialogs

function open(dialog) {
  for (const message of findAll(".message", dialog)) message.textContent = "";
  for (const subject of findAll(".subject", dialog)) subject.textContent = chosen ? title(chosen) : "";
  dialog.showModal();
}

function openCreate() {
  const form = find("#create-form");
  form.reset();
  const bot = session.owner === "Bot";
  find("#type-user").disabled = bot;
  find("#bot-only").hidden = !bot;
  find("#type-bot").disabled = session.own_keys_only;
  find("#type-user").checked = session.own_keys_only;
  find("#type-bot").checked = !session.own_keys_only;
  find("#own-only").hidden = !session.own_keys_only;
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
  showKey(form, await call("POST", "/admin/keys", { body }));
}

function openEdit() {
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
  const body = {};
  const name = find("#edit-name").value.trim();
  if (name !== (chosen.name ?? "")) body.name = name;
  const permissions = ticked(form);
  if (grants(permissions) !== grants(chosen.permissions)) body.permissions = permissions;
  const day = find("#edit-expires").value;
  if (day !== dayOf(chosen.expires_at)) body.expires_at = day ? endOfDay(day) : null;
  body.reason = reasonIn("#edit-reason");
  const enabled = find("#enabled").checked;
  if (enabled !== (chosen.status !== "disabled")) body.status = enabled ? "active" : "disabled";
  return body;
}

const grants = (permissions) =>
  JSON.stringify(Object.entries(permissions).flatMap(([resource, actions]) => actions.map((action) => [resource, action])).sort());

async function edit(form) {
  const saved = await call("PATCH", keyPath(chosen), { body: edited(form) });
  find("#edit").close();
  refresh(`Saved ${title(saved)}.`);
}

async function rotate(form) {
  const body = { grace_seconds: Number(find("#grace").value) };
  showKey(form, await call("POST", keyPath(chosen, "/rotate"), { body }));
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
  showKey(form, await call("POST", keyPath(chosen, "/regenerate"), { body: { reason: reasonIn("#reason") } }));
}

async function revoke(form) {
  const reason = reasonIn("#reason");
  await call("DELETE", keyPath(chosen, reason ? `?${new URLSearchParams({ reason })}` : ""));
  find("#confirm").close();
  refresh(`Revoked ${title(chosen)}.`);
}

const ACTIONS = {
  edit: openEdit,
  rotate: () => open(find("#rotate")),
  regenerate: () => openConfirm("Regenerate", "You get a new key. The old key stops working at once.", regenerate),
  revoke: () => openConfirm("Revoke", "The key stops working at once and cannot be restored.", revoke),
};

function act({ target }) {
  const button = target.closest("button[data-action]");
  if (!button) return;
  const { keyId } = button.closest("tr").dataset;
  chosen = keys.find((key) => key.id === keyId);
  ACTIONS[button.dataset.action]();
}

// The key that is shown once

function showKey(form, { key }) {
  form.closest("dialog").close();
  find("#shown-key").value = key;
  open(find("#shown"));
  refresh();
}

async function copy() {
  const shown = find("#shown-key");
  const copied = await navigator.clipboard?.writeText(shown.value).then(() => true, () => false);
  if (!copied) getSelection().setBaseAndExtent(shown.firstChild, 0, shown.firstChild, shown.value.length);
  find("#copied").textContent = copied ? "Copied" : "Selected: copy it with your keyboard or menu";
}

function forgetKey() {
  find("#shown-key").value = "";
  find("#copied").textContent = "";
}

watch(() => session && refresh());
find("#shown").addEventListener("close", forgetKey);
window.addEventListener("pagehide", forgetKey);
window.addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
find("#copy").addEventListener("click", copy);
find("#new-key").addEventListener("click", openCreate);
find("#more").addEventListener("click", () => run(find("#keys"), more));
find("#sign-out").addEventListener("click", () => run(find("#keys"), signOut));
find("#rows").addEventListener("click", act);
for (const button of findAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
for (const dialog of findAll("dialog")) dialog.addEventListener("close", () => returnFocus(null));
onSubmit(find("#sign-in"), signIn);
onSubmit(find("#create-form"), create);
onSubmit(find("#edit-form"), edit);
onSubmit(find("#rotate-form"), rotate);
onSubmit(find("#confirm-form"), (form) => confirmed(form));
start();
