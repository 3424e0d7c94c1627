Profile: KoordBundleTransactionResponse
Parent: Bundle
Id: koord-bundle-transaction-response
Title: "The answer to a transaction"
Description: "One entry for each that was asked, in order. What the records cannot hold is named in the outcome of the first."
* type = #transaction-response
* entry.response 1..1
