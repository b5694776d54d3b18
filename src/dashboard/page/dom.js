// Elements, and texts about times.

export const find = (selector, inside = document) => inside.querySelector(selector);
export const findAll = (selector, inside = document) => [...inside.querySelectorAll(selector)];

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export const DAY = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
export const MINUTE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const time = (at, format) => make("time", { dateTime: at }, format.format(new Date(at)));
