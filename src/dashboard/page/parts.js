// Parts of the page: forms, dialogs and the list. A part is busy while its request runs, and shows the error.

import { find, findAll } from "./dom.js";
import { state, title } from "./state.js";

// What happens when the server no longer knows the session. The script of the session sets it.
export const session = { ended: () => {} };

export async function run(part, work) {
  const focused = document.activeElement;
  say(part, "");
  busy(part, true);
  try {
    await work();
  } catch (error) {
    if (error.status === 401 && state.session) session.ended();
    else say(part, error.message);
  } finally {
    busy(part, false);
    if (focused !== document.body) returnFocus(focused);
  }
}

export function say(part, text, good = false) {
  const closed = part.closest("dialog:not([open])");
  const message = find(":scope > .message", closed && text ? find("#keys") : part);
  message.textContent = text;
  message.classList.toggle("good", good);
}

function busy(part, yes) {
  part.ariaBusy = yes;
  for (const button of findAll("button", part)) button.disabled = yes;
}

// A disabled button loses the focus, and so does a removed row.
export function returnFocus(to) {
  for (const element of [to, find("#new-key"), find("#search-name"), find("#admin-key"), find("#sign-in-link")]) {
    const { activeElement } = document;
    if (activeElement === document.body || !activeElement.checkVisibility()) element?.focus();
  }
}

export function onSubmit(form, work) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(form, () => work(form));
  });
}

export function open(dialog) {
  const { chosen } = state;
  for (const message of findAll(".message", dialog)) message.textContent = "";
  for (const subject of findAll(".subject", dialog)) subject.textContent = chosen ? title(chosen) : "";
  dialog.showModal();
}

for (const button of findAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
for (const dialog of findAll("dialog")) dialog.addEventListener("close", () => returnFocus(null));
