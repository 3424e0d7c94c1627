Invariant: koord-subject-given
Description: "A patient is given by a reference or by a number, never by a name or a type alone."
Severity: #error
Expression: "reference.exists() or identifier.exists()"
