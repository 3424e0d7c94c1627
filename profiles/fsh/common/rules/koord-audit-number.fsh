Invariant: koord-audit-number
Description: "No identity number stands in the log; the patient is a keyed hash."
Severity: #error
Expression: "descendants().system.where(startsWith('http://electronichealth.se/identifier/') or startsWith('urn:oid:1.2.752.129.2.1.3.')).empty()"
