// @ts-check
/** Properties of an element that reflect its attributes, as frameworks and plain scripts expect them. */

/**
 * Give a class its properties.
 *
 * @param {typeof HTMLElement} elementClass
 * @param {Record<string, string>} properties names of properties, with their attributes'
 */
export function reflect(elementClass, properties) {
  for (const [property, attribute] of Object.entries(properties)) {
    Object.defineProperty(elementClass.prototype, property, {
      /** @this {HTMLElement} */
      get() {
        return this.getAttribute(attribute) ?? "";
      },
      /** null and undefined remove it. @this {HTMLElement} @param {unknown} value */
      set(value) {
        if (value === null || value === undefined) this.removeAttribute(attribute);
        else this.setAttribute(attribute, String(value));
      },
    });
  }
}

/**
 * Take over what was set on an element before its class was there: such a value lies over the class's property.
 *
 * @param {HTMLElement} element
 * @param {Record<string, string>} properties
 */
export function adoptProperties(element, properties) {
  const own = /** @type {any} */ (element);
  for (const name of Object.keys(properties)) {
    if (!Object.hasOwn(own, name)) continue;
    const value = own[name];
    delete own[name];
    own[name] = value;
  }
}
