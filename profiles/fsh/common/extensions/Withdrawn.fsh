Extension: Withdrawn
Id: withdrawn
Title: "Withdrawn"
Description: "When, by whom and why the consent was withdrawn; it holds no more from then on (HSLF-FS 2016:40 5 kap. 5 §). A reader may have the reason without the rest, or the rest without it."
Context: Consent
* extension contains
    on 0..1 and
    by 0..1 and
    reason 0..1
* extension[on] insert Holds(dateTime)
* extension[by] insert Holds(Coding)
* extension[by].value[x] from https://koord.example/fhir/ValueSet/withdrawn-by (required)
* extension[reason] insert Holds(string)
