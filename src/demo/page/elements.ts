/**
 * The element of the page that a selector names.
 *
 * @throws When the page has no such element of this kind.
 */
export function find<Kind extends Element>(
  selector: string,
  kind: new () => Kind,
  within: ParentNode = document,
): Kind {
  const element = within.querySelector(selector)
  if (!(element instanceof kind)) throw new Error(`the page has no ${selector}`)
  return element
}

/** Sets a text that may be the same: a screen reader would read a text anew that is set again. */
export function say(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

/**
 * Whether a button does something. Not by `disabled`, which would take the keyboard's focus away from a button that is not available
 * for a moment.
 */
function isAvailable(button: HTMLButtonElement): boolean {
  return button.ariaDisabled !== 'true'
}

export function setAvailable(button: HTMLButtonElement, available: boolean): void {
  button.ariaDisabled = String(!available)
}

/** Calls a function at each click while the button is available. */
export function onUse(button: HTMLButtonElement, use: () => void): void {
  button.onclick = () => {
    if (isAvailable(button)) use()
  }
}

/** How something goes, which decides its colour. */
export type Mood = 'fine' | 'late' | 'lost' | 'plain'

export function sayState(element: HTMLElement, text: string, mood: Mood): void {
  say(element, text)
  element.dataset.mood = mood
}

export function now(): number {
  return performance.timeOrigin + performance.now()
}
