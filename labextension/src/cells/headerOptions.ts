// The options of a header, as the form groups them.

import { HEADER_OPTIONS } from "../facts";

export const SECTIONS = HEADER_OPTIONS.filter((option) => option.takes === "items");
export const FLAGS = HEADER_OPTIONS.filter((option) => option.takes === "nothing");
export const MORE = HEADER_OPTIONS.filter((option) => !SECTIONS.includes(option) && !FLAGS.includes(option));
