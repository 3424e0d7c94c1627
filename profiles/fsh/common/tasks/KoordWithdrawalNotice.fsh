Profile: KoordWithdrawalNotice
Parent: KoordTask
Id: koord-withdrawal-notice
Title: "Notice that a consent no longer holds"
Description: "Which consent, which records are to be used no more, and when that was ordered (GDPR articles 7.3 and 19). No person, no reason, nothing of what the records say."
* status = #requested
* intent = #order
* code = $task-kind#samtycke-aterkallat
* authoredOn 1..1
* focus 1..1
* focus only Reference(Consent)
* insert BusinessNumber(focus)
* insert NoPerson
* insert NoWords
* input.type = $task-input#sluta-anvanda
* input.value[x] only Reference(Task or CarePlan or Consent)
* insert BusinessNumber(input.valueReference)
