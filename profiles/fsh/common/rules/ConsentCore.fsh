// What every Consent of ours has, be it a permission or a spärr: which it is, of what kind, whose, and under which act.
RuleSet: ConsentCore(kinds, system)
* insert RecordIdentity
* insert ConsentOfRelease
* category 2..*
* category ^slicing.discriminator.type = #value
* category ^slicing.discriminator.path = "$this"
* category ^slicing.rules = #open
* category contains
    document 1..1 and
    kind 1..1
* category[document] = $loinc#59284-0
* category[document] ^short = "What other systems look for (IHE PCF)"
* category[kind] ^patternCodeableConcept.coding.system = "{system}"
* category[kind] from https://koord.example/fhir/ValueSet/{kinds} (required)
