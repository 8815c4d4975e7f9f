"""The header grammar: lexer, parser, options, units, inputs and outputs, `--foreach`."""
