Profile: KoordProvenance
Parent: Provenance
Id: koord-provenance
Title: "Whose a record is"
Description: "The author unit is the key of an inner spärr (PDL 4 kap. 4 §), the care provider that of an outer one (lag (2022:913) 2 kap.)."
* target only Reference(Task or CarePlan or Consent)
* agent ^slicing.discriminator.type = #value
* agent ^slicing.discriminator.path = "type"
* agent ^slicing.rules = #open
* agent contains
    author 0..1 and
    custodian 0..1 and
    enterer 0..1
* agent[author].type = $provenance-role#author
* agent[author].who only Reference(Organization)
* agent[custodian].type = $provenance-role#custodian
* agent[custodian].who only Reference(Organization)
* agent[enterer].type = $provenance-role#enterer
* agent[enterer].who only Reference(PractitionerRole)
