// Fields for the parameters of a pipeline: typed, with what is wrong beside each.

import type { Fault } from "../api";
import { FOCUSABLE, html } from "../graph/elements";
import type { Parameter } from "../graph/types";

const WORDS: Record<string, string> = { secret: "where it is: env:NAME or file:PATH", int: "integer", float: "number", number: "number", str: "text", bool: "true or false", list: "list", dict: "dict", any: "value" };

export class ParameterForm {
  readonly element = html("div", { class: "jpp-form" });
  private shown = "";

  constructor(private readonly changed: (name: string, text: string | null) => void) {}

  show(parameters: Parameter[], given: Record<string, string>, faults: Fault[]): void {
    const signature = JSON.stringify([parameters, faults.map((one) => [one.code, one.message])]);
    if (signature === this.shown) {
      return;
    }
    this.shown = signature;
    const focused = this.element.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset.name : undefined;
    this.element.replaceChildren(...parameters.map((one) => this.row(one, given[one.name] ?? "", faults)));
    if (focused) {
      this.element.querySelector<HTMLElement>(`[data-name="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  private row(parameter: Parameter, given: string, faults: Fault[]): HTMLElement {
    const id = `jpp-parameter-${parameter.name}`;
    const wrong = faults.find((one) => /^JP5/.test(one.code) && one.message.includes(`\`${parameter.name}\``));
    const usual = parameter.required ? "" : parameter.default === null ? "None" : typeof parameter.default === "string" ? parameter.default : JSON.stringify(parameter.default);
    const about = { id, class: "jpg-field", "data-name": parameter.name, "aria-invalid": wrong ? "true" : undefined, "aria-describedby": `${id}-help`, ...FOCUSABLE };
    const field = parameter.choices?.length || parameter.type === "bool" ? this.choice(parameter, given, usual, about) : html("input", { ...about, type: "text", placeholder: usual, value: given, autocomplete: "off" });
    field.addEventListener("input", () => this.changed(parameter.name, field.value === "" ? null : field.value));
    const help = [parameter.description, parameter.annotation || WORDS[parameter.type] || parameter.type].filter((one) => one).join(" · ");
    return html(
      "div",
      { class: "jpp-parameter" },
      html("label", { for: id }, parameter.name),
      field,
      html("div", { id: `${id}-help`, class: wrong ? "jpp-wrong" : "jpg-soft" }, wrong ? `${wrong.message}; ${wrong.suggestion ?? ""}` : help),
    );
  }

  private choice(parameter: Parameter, given: string, usual: string, about: Record<string, string | undefined>): HTMLSelectElement {
    const choices = parameter.choices?.length ? parameter.choices.map(String) : ["true", "false"];
    const field = html("select", about, html("option", { value: "" }, `${usual} (default)`), ...choices.map((one) => html("option", { value: one }, one)));
    field.value = given;
    return field;
  }
}
