// HL7 Sweden has published {name} for FHIR R4 only: nothing is imposed, and the name is told.
RuleSet: Imposes(name)
* ^purpose = "Takes up what {name} of HL7 Sweden's base profiles asks in FHIR R4."
