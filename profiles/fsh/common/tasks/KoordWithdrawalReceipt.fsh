Profile: KoordWithdrawalReceipt
Parent: KoordTask
Id: koord-withdrawal-receipt
Title: "Word that what a notice names is used no more"
Description: "The notice's Task, completed by the one who was told (GDPR article 19)."
* status = #completed
* intent = #order
* code = $task-kind#samtycke-aterkallat
* insert NoPerson
* insert NoWords
