Profile: KoordFkSignal
Parent: KoordTask
Id: koord-fk-signal
Title: "Impuls: the signal to Försäkringskassan"
Description: "That measures under SFB 30 kap. may be assumed to be needed, whom to ask, and the consent (lag (2019:1297) 4 §). No form, no text, no diagnosis."
* extension contains
    Version named version 1..1 and
    RehabilitationNeed named rehabilitation-need 0..1 and
    ContactWished named contact-wished 0..1 and
    ConsentReference named consent 0..1 and
    ConsentGivenOn named consent-given-on 0..1
* status = #requested
* intent = #order
* code = $task-kind#fk-signal
* authoredOn 1..1
* insert SwedishSubject(for)
* insert Professional(requester)
* insert NoWords
