// Elements are made here and nowhere else. What a user or a job wrote goes in as text nodes and
// attribute values, so it can never become markup; addresses are checked for their scheme.

/** Make an element: attributes by name, `on…` for listeners, children as nodes or texts. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  set(element, attributes);
  element.append(...children.flat().filter(present));
  return element;
}

/** The same for a drawing. */
export function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(element, attributes);
  element.append(...children.flat().filter(present));
  return element;
}

const present = (child) => child !== null && child !== undefined && child !== false;

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (!present(value)) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else if (name === "href") element.setAttribute("href", safeAddress(value));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
}

/** An address that only leads to a page: `javascript:` and its like become `#`. */
export function safeAddress(address) {
  try {
    const { protocol } = new URL(address, document.baseURI);
    return ["http:", "https:", "blob:"].includes(protocol) ? address : "#";
  } catch {
    return "#";
  }
}

/** Write a text only where it is another one, so that screen readers and selections rest. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Show or hide an element. */
export function shown(element, whether) {
  element.hidden = !whether;
}

/**
 * Make the children of `parent` those of `items`, in their order. Elements of a key that stays are
 * kept, and with them the focus; `make` makes one, `update` brings one up to date.
 */
export function reconcile(parent, items, key, make, update) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    let element = old.get(key(item));
    if (element) old.delete(key(item));
    else {
      element = make(item);
      element.dataset.key = key(item);
    }
    update(element, item);
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
  }
  for (const element of old.values()) element.remove();
}

/** Tell those who listen instead of looking: a polite live region. */
export function announce(text) {
  const region = document.getElementById("announcements");
  region.textContent = "";
  // A change that follows at once would not be read where the text is the same as before.
  setTimeout(() => { region.textContent = text; }, 50);
}

/** Call `act` once nothing has asked for it during `wait` milliseconds. */
export function debounce(act, wait) {
  let timer = 0;
  const later = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...values), wait);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}
