// Rows that stay what they are while their figures change, so that focus and selection stay too.

/** Makes an element: `make('p', { className: 'a' }, 'text', child)`. */
export function make(name, properties = {}, ...children) {
  const { dataset, ...plain } = properties;
  const element = Object.assign(document.createElement(name), plain);
  Object.assign(element.dataset, dataset);
  element.append(...children);
  return element;
}

/** Sets a text only where it is another: what is selected stays selected. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Rows {
  #parent;
  #create;
  #rows = new Map();

  /** `create(item)` gives { element, update(item) } for one that was not there. */
  constructor(parent, create) {
    this.#parent = parent;
    this.#create = create;
  }

  /** Shows `items`, in their order; `key(item)` tells which is which. */
  show(items, key) {
    const gone = new Set(this.#rows.keys());
    let place = this.#parent.firstElementChild;
    for (const item of items) {
      const name = key(item);
      gone.delete(name);
      let row = this.#rows.get(name);
      if (!row) this.#rows.set(name, row = this.#create(item));
      row.update(item);
      if (row.element === place) place = place.nextElementSibling;
      else this.#parent.insertBefore(row.element, place);
    }
    for (const name of gone) {
      this.#rows.get(name).element.remove();
      this.#rows.delete(name);
    }
  }
}
