/** Elements of the page. Text only ever becomes text: nothing here takes HTML. */

type Child = Node | string;

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export function button(text: string, pressed: () => void, attributes: Record<string, string> = {}): HTMLButtonElement {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", (event) => {
    if (event.detail > 0) made.blur(); // of a mouse, so that the space bar and arrows go to the page again
    pressed();
  });
  return made;
}

/** Put other children into an element; whoever is in it by the keyboard stays at the same place. */
export function redraw(box: HTMLElement, ...children: Child[]): void {
  const reached = (): HTMLElement[] => [...box.querySelectorAll<HTMLElement>("button, input, select, summary")];
  const at = reached().findIndex((one) => one === document.activeElement);
  box.replaceChildren(...children);
  reached()[at]?.focus();
}

/** A line at the foot of the page, gone after a while unless it stays. */
export function tell(text: string, stays = false): void {
  document.querySelector(".told")?.remove();
  const line = element("p", { class: "told", role: "status" }, text);
  document.body.append(line);
  if (!stays) setTimeout(() => line.remove(), 6000);
}
