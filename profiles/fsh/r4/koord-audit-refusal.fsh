Invariant: koord-audit-refusal
Description: "What was refused is told by patient alone: no purpose, no record, and no consent that was looked at, since each can say that something is blocked (PDL 4 kap. 4 §)."
Severity: #error
Expression: "type.where(system = 'http://dicom.nema.org/resources/ontology/DCM' and code = '110113').exists() implies (purposeOfEvent.empty() and entity.where(type.code != '1').what.where(identifier.exists() or reference.exists()).empty())"
