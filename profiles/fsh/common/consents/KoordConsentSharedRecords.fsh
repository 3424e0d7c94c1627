Profile: KoordConsentSharedRecords
Parent: KoordConsent
Id: koord-consent-shared-records
Title: "Consent to shared records"
Description: "The patient agrees that another care provider reads her records (lag (2022:913) 3 kap. 1, 7 §§). It opens nothing to those outside care."
* category[kind] = $consent-kind#shared-records
* insert Act([[https://www.riksdagen.se/sv/dokument-och-lagar/dokument/svensk-forfattningssamling/lag-2022913-om-sammanhallen-vard-och_sfs-2022-913/]])
