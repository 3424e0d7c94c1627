Profile: KoordTask
Parent: Task
Id: koord-task
Title: "Coordination Task"
Description: "What all Tasks of coordination have in common: a business number, a code, and no diagnosis."
* obeys koord-no-diagnosis
* obeys koord-gc001
* insert NoReason
* identifier 1..*
* identifier.system 1..1
* identifier.value 1..1
* code 1..1
* code.coding 1..*
* code.coding.system 1..1
* code.coding.code 1..1
