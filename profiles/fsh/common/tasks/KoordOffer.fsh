Profile: KoordOffer
Parent: KoordTask
Id: koord-offer
Title: "Erbjudande: an offer of coordination, and the answer"
Description: "That coordination interventions were offered, when, by whom, and what the patient answered (lag (2019:1297) 1 §; PDL 3 kap. 6 §)."
* obeys koord-offer-answer
* extension contains
    Version named version 1..1 and
    AnsweredOn named answered-on 0..1
* status from https://koord.example/fhir/ValueSet/offer-answer (required)
* intent = #proposal
* code = $task-kind#offer
* authoredOn 1..1
* insert SwedishSubject(for)
* insert Professional(requester)
