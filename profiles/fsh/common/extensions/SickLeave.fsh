Extension: SickLeave
Id: sick-leave
Title: "Sick leave"
Description: "A period of sick leave and its degree in percent."
Context: CarePlan
* obeys koord-sick-leave-degree
* extension contains
    degree 1..1 and
    period 1..1
* extension[degree] insert Holds(integer)
* extension[period] insert Holds(Period)
