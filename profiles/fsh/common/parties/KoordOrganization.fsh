Profile: KoordOrganization
Parent: Organization
Id: koord-organization
Title: "Organisation"
Description: "A care provider, a care unit, or an outside actor such as Försäkringskassan, an employer or a municipality: known by HSA-id, organisation number, or both."
* insert Imposes(SEBaseOrganization)
* insert BySystem(identifier)
* identifier contains
    hsaid 0..1 and
    orgnr 0..1
* insert Number(hsaid, urn:oid:1.2.752.29.4.19)
* insert Number(orgnr, urn:oid:2.5.4.97)
* type from https://koord.example/fhir/ValueSet/actor-category (preferred)
* type ^short = "What kind of outside actor it is; a care provider or unit has none of these"
* insert Phone
