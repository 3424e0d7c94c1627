// A member of staff in an assignment, whose contact others may use.
RuleSet: Professional(path)
* {path} only Reference(PractitionerRole)
* {path}.display 0..0
* {path}.display ^short = "Never: the name stands in Practitioner.name alone"
