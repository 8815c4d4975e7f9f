// A form for the parameters of a pipeline, with types and error messages.

import type { PipelineDiagnostic } from "../api";
import { FOCUSABLE, html } from "../graph/dom";
import type { Parameter } from "../graph/documents";

const TYPE_WORDS: Record<string, string> = { secret: "where it is: env:NAME or file:PATH", int: "integer", float: "number", number: "number", str: "text", bool: "true or false", list: "list", dict: "dict", any: "value" };

export class ParameterForm {
  readonly element = html("div", { class: "jpp-form" });
  private shownSignature = "";

  constructor(private readonly changed: (name: string, text: string | null) => void) {}

  show(parameters: Parameter[], values: Record<string, string>, faults: PipelineDiagnostic[]): void {
    const signature = JSON.stringify([parameters, faults.map((fault) => [fault.code, fault.message])]);
    if (signature === this.shownSignature) {
      return;
    }
    this.shownSignature = signature;
    const focused = this.element.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset.name : undefined;
    this.element.replaceChildren(...parameters.map((parameter) => this.row(parameter, values[parameter.name] ?? "", faults)));
    if (focused) {
      this.element.querySelector<HTMLElement>(`[data-name="${CSS.escape(focused)}"]`)?.focus();
    }
  }

  private row(parameter: Parameter, text: string, faults: PipelineDiagnostic[]): HTMLElement {
    const id = `jpp-parameter-${parameter.name}`;
    const wrong = faults.find((fault) => /^JP5/.test(fault.code) && fault.message.includes(`\`${parameter.name}\``));
    const defaultText = parameter.required ? "" : parameter.default === null ? "None" : typeof parameter.default === "string" ? parameter.default : JSON.stringify(parameter.default);
    const about = { id, class: "jpg-field", "data-name": parameter.name, "aria-invalid": wrong ? "true" : undefined, "aria-describedby": `${id}-help`, ...FOCUSABLE };
    const field = parameter.choices?.length || parameter.type === "bool" ? this.choice(parameter, text, defaultText, about) : html("input", { ...about, type: "text", placeholder: defaultText, value: text, autocomplete: "off" });
    field.addEventListener("input", () => this.changed(parameter.name, field.value === "" ? null : field.value));
    const help = [parameter.description, parameter.annotation || TYPE_WORDS[parameter.type] || parameter.type].filter((part) => part).join(" · ");
    return html(
      "div",
      { class: "jpp-parameter" },
      html("label", { for: id }, parameter.name),
      field,
      html("div", { id: `${id}-help`, class: wrong ? "jpp-wrong" : "jpg-soft" }, wrong ? `${wrong.message}; ${wrong.suggestion ?? ""}` : help),
    );
  }

  private choice(parameter: Parameter, text: string, defaultText: string, about: Record<string, string | undefined>): HTMLSelectElement {
    const choices = parameter.choices?.length ? parameter.choices.map(String) : ["true", "false"];
    const field = html("select", about, html("option", { value: "" }, `${defaultText} (default)`), ...choices.map((choice) => html("option", { value: choice }, choice)));
    field.value = text;
    return field;
  }
}
