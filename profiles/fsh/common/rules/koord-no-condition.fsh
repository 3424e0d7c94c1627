Invariant: koord-no-condition
Description: "No Condition travels with coordination (PDL 2 kap. 4 §)."
Severity: #error
Expression: "entry.resource.where($this is Condition).empty()"
