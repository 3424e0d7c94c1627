// HL7 Sweden's base profile (hl7se.fhir.base 1.1.0, FHIR R4) holds as well, for validators that have it.
RuleSet: Imposes(name)
* ^extension[http://hl7.org/fhir/StructureDefinition/structuredefinition-imposeProfile].valueCanonical = "http://hl7.se/fhir/ig/base/StructureDefinition/{name}"
