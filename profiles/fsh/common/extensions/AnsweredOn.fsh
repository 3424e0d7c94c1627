Extension: AnsweredOn
Id: answered-on
Title: "When the patient answered"
Description: "When the patient said yes or no to the offer (PDL 3 kap. 6 §)."
Context: Task
* insert Holds(dateTime)
