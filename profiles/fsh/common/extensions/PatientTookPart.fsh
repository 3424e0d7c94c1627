Extension: PatientTookPart
Id: patient-took-part
Title: "The patient took part"
Description: "Whether the plan was made together with the patient (lag (2019:1297) 3 § 2 st)."
Context: CarePlan
* insert Holds(boolean)
