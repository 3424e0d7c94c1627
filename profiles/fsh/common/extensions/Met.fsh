Extension: Met
Id: met
Title: "An actor that was met"
Description: "An actor met in the intervention, and whom there. An actor hears only of itself."
Context: Task
* extension contains
    actor 1..1 and
    contact 0..1
* extension[actor] insert Holds(Reference)
* extension[actor].value[x] only Reference(Organization)
* extension[contact] insert Holds(string)
