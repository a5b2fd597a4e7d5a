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
  made.addEventListener("click", () => {
    pressed();
    made.blur(); // so that the space bar and arrows go to the page again
  });
  return made;
}

/** A line at the foot of the page, gone after a while unless it stays. */
export function tell(text: string, stays = false): void {
  document.querySelector(".told")?.remove();
  const line = element("p", { class: "told", role: "status" }, text);
  document.body.append(line);
  if (!stays) setTimeout(() => line.remove(), 6000);
}
