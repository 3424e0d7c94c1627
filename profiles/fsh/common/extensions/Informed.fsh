Extension: Informed
Id: informed
Title: "Informed before the consent"
Description: "When and by whom the patient was informed before the consent was given (Ds 2018:5 5.1)."
Context: Consent
* extension contains
    on 1..1 and
    by 0..1
* extension[on] insert Holds(dateTime)
* extension[by] insert Holds(Reference)
* extension[by].value[x] only Reference(PractitionerRole)
