Extension: RehabilitationNeed
Id: rehabilitation-need
Title: "A need of measures may be assumed"
Description: "That measures under SFB 30 kap. may be assumed to be needed, and nothing more (lag (2019:1297) 4 §)."
Context: Task
* insert Holds(boolean)
* valueBoolean = true
