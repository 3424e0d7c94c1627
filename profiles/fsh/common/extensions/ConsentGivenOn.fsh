Extension: ConsentGivenOn
Id: consent-given-on
Title: "When that consent was given"
Description: "From when the consent holds, so that Försäkringskassan can ask about it (lag (2019:1297) 4 §)."
Context: Task
* insert Holds(dateTime)
