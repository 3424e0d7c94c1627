// What every Consent of ours has, be it a permission or a spärr: which it is, of what kind, whose, and under which act.
RuleSet: ConsentCore(kinds, system)
* insert RecordIdentity
* insert ConsentOfRelease
* category ^slicing.discriminator.type = #value
* category ^slicing.discriminator.path = "$this"
* category ^slicing.rules = #open
* category contains kind 1..1
* category[kind] ^short = "Of which kind, and that it is a consent, which is what other systems look for (IHE PCF)"
* category[kind] ^patternCodeableConcept.coding[0] = $loinc#59284-0
* category[kind] ^patternCodeableConcept.coding[1].system = "{system}"
* category[kind] from https://koord.example/fhir/ValueSet/{kinds} (required)
