Profile: KoordGoal
Parent: Goal
Id: koord-goal
Title: "A goal of a plan"
Description: "What the patient and the plan aim at, in words, and how far it is reached."
* obeys koord-no-diagnosis
* lifecycleStatus = #active
* achievementStatus from https://koord.example/fhir/ValueSet/achievement (required)
* description.text 1..1
* insert SwedishSubject(subject)
* target 0..1
* target.due[x] only date
* addresses 0..0
* addresses ^short = "Never: it would lead to a diagnosis (PDL 2 kap. 4 §)"
