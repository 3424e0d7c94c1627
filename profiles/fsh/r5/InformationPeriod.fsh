// R5 only: in R4 there is an element for it.
Extension: InformationPeriod
Id: information-period
Title: "Of what time the records are"
Description: "The period of the information that a spärr closes; without it, all of it (RIV-TA Blocks 4.0)."
Context: Consent
* insert Holds(Period)
