// The key that is shown once. It is wiped from the page when the dialog closes.

import { refresh } from "./app.js";
import { find } from "./dom.js";
import { open } from "./parts.js";

export function showKey(form, { key }) {
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

function forget() {
  find("#shown-key").value = "";
  find("#copied").textContent = "";
}

find("#shown").addEventListener("close", forget);
find("#copy").addEventListener("click", copy);
window.addEventListener("pagehide", forget);
