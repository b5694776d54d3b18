// The menu of a row: a popover below its button, with the less frequent actions.

import { find, findAll } from "./dom.js";

// Connects the button and the menu of a new row.
export function connect(row) {
  const [button, menu] = [find("[data-menu]", row), find(".menu", row)];
  button.popoverTargetElement = menu;
  menu.addEventListener("toggle", ({ newState }) => newState === "open" && place(menu, button));
  menu.addEventListener("keydown", move);
  // Closed first, so that the focus returns to the button and not to a hidden item.
  menu.addEventListener("click", () => menu.hidePopover(), { capture: true });
}

// Below the button, or above it at the end of the window.
function place(menu, button) {
  const [at, size] = [button.getBoundingClientRect(), menu.getBoundingClientRect()];
  const below = at.bottom + size.height + 8 <= innerHeight;
  menu.style.top = `${Math.max(8, below ? at.bottom + 4 : at.top - size.height - 4)}px`;
  menu.style.left = `${Math.max(8, at.right - size.width)}px`;
  items(menu)[0]?.focus();
}

const items = (menu) => findAll("button:not([hidden])", menu);

function move(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const all = items(event.currentTarget);
  all.at((all.indexOf(document.activeElement) + step) % all.length).focus();
}

// A menu does not move with its row.
window.addEventListener("scroll", () => find(".menu:popover-open")?.hidePopover(), { passive: true });
