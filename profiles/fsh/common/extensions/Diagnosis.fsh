Extension: Diagnosis
Id: diagnosis
Title: "Diagnosis"
Description: "Care side only. No disclosure table but the patient's opens it: interventions are journalled without diagnosis."
Context: CarePlan
* extension contains
    code 1..1 and
    text 0..1
* extension[code] insert Holds(Coding)
* extension[code].valueCoding.system 1..1
* extension[code].valueCoding.system = "https://www.icd10.se/"
* extension[code].valueCoding.code 1..1
* extension[text] insert Holds(string)
