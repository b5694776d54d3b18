// The session, and the list of the keys. The other scripts are the dialogs and the parts of a row.

import "./credits.js";
import "./forms.js";
import "./import.js";
import "./many.js";
import "./usage.js";
import { call } from "./api.js";
import { find } from "./dom.js";
import { readLeaks } from "./history.js";
import { onSubmit, returnFocus, run, say, session } from "./parts.js";
import { drawKey } from "./row.js";
import { clear, conditions, searching, watch } from "./search.js";
import { SERVICE_ACCOUNT, may, state } from "./state.js";

const { signIn: kind, keyHeader, keyWord } = document.body.dataset;
const PAGE = 50;
let interrupted = null;

// The session

async function start() {
  find("#starting").hidden = false;
  try {
    await enter(await call("GET", "session"));
  } catch (error) {
    leave(error.status === 401 ? "" : error.message);
  } finally {
    find("#starting").hidden = true;
  }
}

async function signIn() {
  if (kind !== "key") return start();
  const field = find("#admin-key");
  const key = field.value.trim();
  field.value = "";
  field.focus();
  const credential = keyWord ? `${keyWord} ${key}` : key;
  await call("POST", "session", { body: {}, headers: { [keyHeader]: credential } });
  await enter(await call("GET", "session").catch(dropped));
}

// A browser drops a secure cookie that comes over plain HTTP.
function dropped(error) {
  throw error.status === 401 ? new Error("Your browser has not kept the session: open this page over TLS.") : error;
}

async function signOut() {
  await call("DELETE", "session");
  leave("");
}

async function enter(newSession) {
  state.session = newSession;
  const { owner, is_user, own_keys_only, organization, finds_by_text } = newSession;
  find("#who").textContent = is_user ? owner : SERVICE_ACCOUNT;
  find("#list-title").textContent = listTitle(own_keys_only, organization);
  find("#organization").textContent = organization ?? "";
  document.body.classList.toggle("own-keys-only", own_keys_only);
  find("#find").hidden = !finds_by_text;
  find("#new-key").hidden = !may("create");
  find("#import-open").hidden = own_keys_only || !may("create");
  find("#sign-out").hidden = kind !== "key";
  showSignedIn(true);
  await refresh();
  resume();
}

function listTitle(isOwn, organization) {
  if (organization) return isOwn ? "Your keys in" : "Keys of";
  return isOwn ? "Your keys" : "All keys";
}

function leave(message) {
  state.session = null;
  state.keys = [];
  state.names.clear();
  drawKeys();
  showSignedIn(false);
  find("#not-signed-in").hidden = message !== "";
  say(find("#sign-in"), message);
  returnFocus();
}

// Keeps an open dialog, so that the same user finds the input again after signing in.
session.ended = () => {
  const dialog = find("dialog[open]:not(#shown)");
  interrupted = dialog && { dialog, by: who(state.session) };
  dialog?.close();
  leave("Your session has ended. Please sign in again.");
};

const who = (of) => of && JSON.stringify([of.key_id, of.owner, of.organization]);

function resume() {
  if (interrupted?.by === who(state.session)) interrupted?.dialog.showModal();
  interrupted = null;
}

function showSignedIn(yes) {
  find("#signed-out").hidden = yes;
  find("#account").hidden = !yes;
  find("#keys").hidden = !yes;
}

// The list

export async function refresh(news = "") {
  const part = find("#keys");
  if (!may("read")) return nothing("You have no permission to see keys.", "");
  find("#list-loading").hidden = state.keys.length > 0;
  find("#nothing").hidden = true;
  await run(part, async () => {
    const wanted = state.keys.length;
    await Promise.all([load(null), readLeaks()]);
    while (state.cursor && state.keys.length < wanted) await load(state.cursor);
    drawKeys();
    say(part, news, true);
  });
  find("#list-loading").hidden = true;
  if (state.session && !state.loaded && state.keys.length === 0) nothing("The keys could not be loaded.", "retry");
}

async function more() {
  await load(state.cursor);
  drawKeys();
}

async function load(from) {
  state.loaded = false;
  const query = conditions();
  query.set("limit", PAGE);
  if (from) query.set("cursor", from);
  const page = await call("GET", `keys?${query}`);
  state.keys = from ? [...state.keys, ...page.keys] : page.keys;
  for (const { id, name } of page.keys) state.names.set(id, name);
  state.cursor = page.next;
  state.loaded = true;
}

function drawKeys() {
  const { keys, cursor } = state;
  find("#rows").replaceChildren(...keys.map(drawKey));
  find("#key-table").hidden = keys.length === 0;
  find("#nothing").hidden = true;
  if (state.session && keys.length === 0 && !cursor) empty();
  find("#more").hidden = !cursor;
  find("#many-changes").hidden = keys.length === 0 || !searching();
  const status = conditions().get("status");
  offer("disable", may("update") && !["disabled", "revoked"].includes(status));
  offer("revoke", may("delete") && status !== "revoked");
  offer("remove", may("delete"));
}

function offer(change, yes) {
  find(`[data-change=${change}]`).hidden = !yes;
}

function empty() {
  if (searching()) return nothing("No key matches.", "clear-search");
  const hint = may("create") ? " Create the first one with “New key”." : "";
  nothing(`There are no keys yet.${hint}`, "");
}

// Explains an empty list, and offers one way out.
function nothing(text, button) {
  find("#empty").textContent = text;
  for (const id of ["clear-search", "retry"]) find(`#${id}`).hidden = id !== button;
  find("#nothing").hidden = false;
}

watch(() => state.session && refresh());
find("#clear-search").addEventListener("click", clear);
find("#retry").addEventListener("click", () => refresh());
find("#more").addEventListener("click", () => run(find("#keys"), more));
find("#sign-out").addEventListener("click", () => run(find("#keys"), signOut));
window.addEventListener("pageshow", ({ persisted }) => persisted && location.reload());
onSubmit(find("#sign-in"), signIn);
find("#by-key").hidden = kind !== "key";
find("#admin-key").disabled = kind !== "key";
find("#by-host").hidden = kind === "key";
find("#sign-in-link").hidden = find("#sign-in-link").getAttribute("href") === "";
start();
